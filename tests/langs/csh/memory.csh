# a list may not grow for ever, the number of lists may
set words = (xxxxxxxxxxxxxxxx)
foreach doubled (1 2 3 4 5 6 7 8)
    set words = ($words $words)
end
set n = 0
while (1)
    @ n++
    set words$n = ($words)
end
