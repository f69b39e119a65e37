while true do
    ()
