var chunks = [];
var text = "x";

while (text.length < 1048576)
	text += text;
for (;;)
	chunks.push(text + chunks.length);
