// u64 pmemfile_call_preserving_vectors(u64 (*fn)(void*), void* argument)
//
// Saves every state component that user code can change, runs fn, restores.
// The area is in XSAVEC's compacted format where the processor has it; the
// sizes of components are fixed by the architecture, so that no CPUID (an exit
// to the hypervisor, microseconds) is needed to know them. See entry.md.

        // x87, SSE, AVX, MPX, AVX-512, PKRU and APX, and without APX 128 less.
        .equ    AREA_BYTES, 2880
        // and AMX: tile configuration 64, tiles 8192
        .equ    AREA_BYTES_AMX, AREA_BYTES + 64 + 8192
        .equ    MASK, 0x802ff           // components 0-7, 9, 19
        .equ    MASK_AMX, 0x60000

        .hidden pmemfile_vector_save_kind
        .text
        .globl  pmemfile_call_preserving_vectors
        .hidden pmemfile_call_preserving_vectors
        .type   pmemfile_call_preserving_vectors, @function
        .p2align 4
pmemfile_call_preserving_vectors:
        .cfi_startproc
        push    %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbp, -16
        mov     %rsp, %rbp
        .cfi_def_cfa_register rbp
        push    %rbx
        .cfi_offset rbx, -24
        push    %r12
        .cfi_offset r12, -32
        push    %r13
        .cfi_offset r13, -40
        push    %r14
        .cfi_offset r14, -48
        mov     %rdi, %r13
        mov     %rsi, %r14
        mov     pmemfile_vector_save_kind(%rip), %r12d
        cmp     $1, %r12d
        jb      .Lfxsave
        // rbx = the components to save
        mov     $MASK, %ebx
        mov     $AREA_BYTES, %r8d
        cmp     $3, %r12d               // 3: XGETBV(1) tells what is in use
        jne     1f
        mov     $1, %ecx
        xgetbv
        test    $MASK_AMX, %eax
        jz      1f
        or      $MASK_AMX, %ebx
        mov     $AREA_BYTES_AMX, %r8d
1:      sub     %r8, %rsp
        and     $-64, %rsp
        // The header must be zero before XSAVE and XRSTOR look at it.
        xor     %eax, %eax
        mov     %rax, 512(%rsp)
        mov     %rax, 520(%rsp)
        mov     %rax, 528(%rsp)
        mov     %rax, 536(%rsp)
        mov     %rax, 544(%rsp)
        mov     %rax, 552(%rsp)
        mov     %rax, 560(%rsp)
        mov     %rax, 568(%rsp)
        mov     %ebx, %eax
        xor     %edx, %edx
        cmp     $2, %r12d
        jae     2f
        xsave64 (%rsp)
        jmp     3f
2:      xsavec64 (%rsp)
3:      call    .Lfresh
        mov     %r14, %rdi
        call    *%r13
        mov     %rax, %r13
        mov     %ebx, %eax
        xor     %edx, %edx
        xrstor64 (%rsp)
        jmp     4f
.Lfxsave:
        sub     $512, %rsp
        and     $-16, %rsp
        fxsave64 (%rsp)
        call    .Lfresh
        mov     %r14, %rdi
        call    *%r13
        mov     %rax, %r13
        fxrstor64 (%rsp)
4:      mov     %r13, %rax
        lea     -32(%rbp), %rsp
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbx
        pop     %rbp
        .cfi_def_cfa rsp, 8
        ret
        .cfi_endproc
        .size   pmemfile_call_preserving_vectors, . - pmemfile_call_preserving_vectors

        // The control words that the ABI promises to a function.
        .p2align 4
.Lfresh:
        .cfi_startproc
        fninit
        push    $0x1f80
        .cfi_adjust_cfa_offset 8
        ldmxcsr (%rsp)
        lea     8(%rsp), %rsp
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc

        .section .note.GNU-stack, "", @progbits
