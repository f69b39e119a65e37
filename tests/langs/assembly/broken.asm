        global  _start

        section .text
_start: mov     edi, never_declared
        notaninstruction eax, 60
        syscall
