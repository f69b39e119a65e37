import sys.io.File;

class Main {
	static function main() {
		Sys.print(File.getContent("data.txt"));
	}
}
