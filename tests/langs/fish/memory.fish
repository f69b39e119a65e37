set text xxxxxxxxxxxxxxxx
while true
    set text $text$text
end
