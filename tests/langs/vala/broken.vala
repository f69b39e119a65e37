void main () {
    print ("never printed\n";
}
