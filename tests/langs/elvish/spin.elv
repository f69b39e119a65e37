while $true {
}
