var chunks = [];

for (;;)
	chunks.push(java.lang.reflect.Array.newInstance(java.lang.Byte.TYPE, 1 << 20));
