var chunks = [];

for (;;) {
	var chunk = new Uint8Array(1 << 20);
	for (var i = 0; i < chunk.length; i += 1024)
		chunk[i] = 1;
	chunks.push(chunk);
}
