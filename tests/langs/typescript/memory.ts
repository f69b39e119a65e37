const blocks: Buffer[] = [];
for (;;) blocks.push(Buffer.alloc(1000000, 1));
