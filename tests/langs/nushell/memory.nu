mut text = "xxxxxxxxxxxxxxxx"
loop { $text = $text + $text }
