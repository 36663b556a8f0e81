// Shapes of code around a system call, one function each. The golden file says
// how each is patched; patterns_run.c calls them all.

        .macro  func name
        .text
        .p2align 6, 0xcc
        .globl  \name
        .type   \name, @function
\name:
        .cfi_startproc
        .endm
        .macro  endf name
        .cfi_endproc
        .size   \name, . - \name
        .endm

        // The common shape: mov, syscall.
        func    p_mov_before
        mov     $39, %eax
        syscall
        ret
        endf    p_mov_before

        // At an indirect target: endbr64 stays where it is.
        func    p_endbr
        endbr64
        mov     $39, %eax
        syscall
        ret
        endf    p_endbr

        // Only short instructions before: several are moved.
        func    p_several_before
        push    $39
        pop     %rax
        xor     %edx, %edx
        syscall
        ret
        endf    p_several_before

        // Nothing before but endbr64: neighbours behind are moved.
        func    p_after
        endbr64
        syscall
        cmp     $-4095, %rax
        sbb     %edx, %edx
        ret
        endf    p_after

        // A relative load before: moved with its distance adjusted.
        func    p_rip_relative
        mov     p_number(%rip), %eax
        syscall
        ret
        endf    p_rip_relative

        // A relative load behind.
        func    p_rip_relative_after
        xor     %edx, %edx
        endbr64
        syscall
        mov     p_number(%rip), %edx
        add     %rdx, %rax
        ret
        endf    p_rip_relative_after

        // Something jumps to the instruction itself, with padding near: a short jump.
        func    p_target_is_site
        mov     $39, %eax
        test    %edi, %edi
        jne     1f
        mov     $102, %eax
1:      syscall
2:      jmp     3f
3:      test    %eax, %eax
        js      2b
        ret
        endf    p_target_is_site
        .p2align 5, 0x90
        .skip   16, 0x90

        // Something jumps between the instruction before and the site, and what
        // is behind cannot move: with no padding in reach it is left alone.
        func    p_no_room
        .skip   160, 0x90
        mov     $39, %eax
        test    %edi, %edi
        jne     1f
        mov     $102, %eax
1:      syscall
2:      jmp     3f
3:      test    %eax, %eax
        js      2b
        .skip   160, 0x50
        lea     160*8(%rsp), %rsp
        ret
        endf    p_no_room

        // A jump goes to an instruction that would have been moved.
        func    p_target_in_neighbour
        xor     %edx, %edx
        mov     $2, %ecx
1:      mov     $39, %eax
        syscall
        dec     %edx
        add     $3, %edx
        cmp     $4, %edx
        jb      1b
        ret
        endf    p_target_in_neighbour

        // The return from a signal handler is known by its bytes.
        func    p_signal_return
        mov     $15, %rax
        syscall
        ret
        endf    p_signal_return

        // Two in a row.
        func    p_two
        mov     $39, %eax
        syscall
        mov     $110, %eax
        syscall
        ret
        endf    p_two

        // A table of distances: the cases are targets.
        func    p_switch
        lea     p_table(%rip), %rdx
        movslq  (%rdx,%rdi,4), %rax
        add     %rdx, %rax
        jmp     *%rax
1:      mov     $39, %eax
2:      syscall
        cmp     $-4095, %rax
        ret
3:      mov     $102, %eax
        jmp     2b
        endf    p_switch
        .section .rodata
        .p2align 2
p_table:
        .long   1b - p_table
        .long   3b - p_table
p_number:
        .long   39
        .section .note.GNU-stack, "", @progbits
