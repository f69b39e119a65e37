import os

fn main() {
	content := os.read_file('data.txt') or { panic(err) }
	print(content)
}
