const {GLib} = imports.gi;

const [, bytes] = GLib.file_get_contents('data.txt');
print(new TextDecoder().decode(bytes).trimEnd());
