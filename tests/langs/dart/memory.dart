import 'dart:typed_data';

void main() {
  final chunks = <Uint8List>[];
  while (true) {
    chunks.add(Uint8List(1 << 20)..fillRange(0, 1 << 20, 1));
  }
}
