set chunks {}
while 1 {
    lappend chunks [string repeat x 1048576]
}
