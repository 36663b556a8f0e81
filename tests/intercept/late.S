// An object with a system call of its own, loaded by dlopen.
        .text
        .globl  late_getppid
        .type   late_getppid, @function
late_getppid:
        .cfi_startproc
        mov     $110, %eax
        syscall
        ret
        .cfi_endproc
        .size   late_getppid, . - late_getppid
        .section .note.GNU-stack, "", @progbits
