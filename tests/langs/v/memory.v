fn main() {
	mut chunks := [][]u8{}
	for {
		chunks << []u8{len: 1048576, init: 1}
	}
}
