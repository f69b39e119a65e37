require! fs

process.stdout.write fs.read-file-sync 'data.txt'
