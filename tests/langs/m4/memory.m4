define(`text', `xxxxxxxxxxxxxxxx')dnl
define(`grow', `define(`text', defn(`text')defn(`text'))grow')dnl
grow
