const content: Uint8Array = Deno.readFileSync("data.txt");
Deno.stdout.writeSync(content);
