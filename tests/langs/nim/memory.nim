import std/strutils

var chunks: seq[string]
while true:
  chunks.add(repeat('x', 1 shl 20))
