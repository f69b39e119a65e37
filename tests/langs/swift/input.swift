import Foundation

print(try String(contentsOfFile: "data.txt", encoding: .utf8), terminator: "")
