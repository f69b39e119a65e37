void main () {
    bool forever = true;

    while (forever) {
    }
}
