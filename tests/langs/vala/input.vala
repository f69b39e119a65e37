void main () {
    string content;

    try {
        FileUtils.get_contents ("data.txt", out content);
        print ("%s", content);
    } catch (FileError error) {
        GLib.error (error.message);
    }
}
