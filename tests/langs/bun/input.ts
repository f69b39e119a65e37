const content: string = await Bun.file("data.txt").text();
process.stdout.write(content);
