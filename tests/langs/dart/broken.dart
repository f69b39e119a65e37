void main() {
  print('never printed';
}
