import 'dart:io';

void main() {
  stdout.write(File('data.txt').readAsStringSync());
}
