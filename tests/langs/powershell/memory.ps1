$chunks = [System.Collections.Generic.List[byte[]]]::new()
while ($true) {
    $chunk = [byte[]]::new(1048576)
    [Array]::Fill($chunk, [byte] 1)
    $chunks.Add($chunk)
}
