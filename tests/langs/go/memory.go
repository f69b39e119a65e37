package main

func main() {
	var chunks [][]byte
	for {
		chunk := make([]byte, 1<<20)
		for i := range chunk {
			chunk[i] = 1
		}
		chunks = append(chunks, chunk)
	}
}
