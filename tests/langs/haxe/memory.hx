import haxe.io.Bytes;

class Main {
	static function main() {
		var chunks = [];
		while (true) {
			var chunk = Bytes.alloc(1 << 20);
			chunk.fill(0, chunk.length, 1);
			chunks.push(chunk);
		}
	}
}
