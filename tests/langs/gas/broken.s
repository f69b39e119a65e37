        .globl  main
        .text
main:   notaninstruction %eax
        ret
