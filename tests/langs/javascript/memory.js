const blocks = [];
for (;;) blocks.push(Buffer.alloc(1000000, 1));
