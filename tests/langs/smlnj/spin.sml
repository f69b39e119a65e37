fun spin () : unit = spin ()

val _ = spin ()
