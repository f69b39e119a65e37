const chunks: Uint8Array[] = [];
for (;;) chunks.push(new Uint8Array(1 << 20).fill(1));
