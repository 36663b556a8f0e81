// Copies whose faults can be survived. General registers only: callers run inside hooks.
//
// At each faulting instruction rcx counts the bytes that are left, so that the fixup has only to return it: `rep movsb`
// keeps rcx exact when it faults. Where words are copied, the fixup goes on byte by byte, up to the very byte that faults.

	.text

// u64 pmemfile_copy_cached(void *to /*rdi*/, const void *from /*rsi*/, u64 size /*rdx*/)
// Up to 256 bytes word by word: `rep movsb` takes some 30 cycles to start, more where the source was just stored.
	.globl	pmemfile_copy_cached
	.hidden	pmemfile_copy_cached
	.type	pmemfile_copy_cached, @function
pmemfile_copy_cached:
	.cfi_startproc
	mov	%rdx, %rcx
	cmp	$256, %rdx
	ja	pmemfile_copy_cached_at
	sub	$32, %rcx
	jb	2f
	.globl	pmemfile_copy_lines_begin
	.hidden	pmemfile_copy_lines_begin
pmemfile_copy_lines_begin: // rcx is 32 less than what is left
1:
	mov	(%rsi), %rax
	mov	8(%rsi), %rdx
	mov	16(%rsi), %r8
	mov	24(%rsi), %r9
	mov	%rax, (%rdi)
	mov	%rdx, 8(%rdi)
	mov	%r8, 16(%rdi)
	mov	%r9, 24(%rdi)
	add	$32, %rsi
	add	$32, %rdi
	sub	$32, %rcx
	jae	1b
	.globl	pmemfile_copy_lines_fixup
	.hidden	pmemfile_copy_lines_fixup
pmemfile_copy_lines_fixup:
2:
	add	$32, %rcx
3:
	cmp	$8, %rcx
	jb	4f
	.globl	pmemfile_copy_words_begin
	.hidden	pmemfile_copy_words_begin
pmemfile_copy_words_begin:
	mov	(%rsi), %rax
	mov	%rax, (%rdi)
	add	$8, %rsi
	add	$8, %rdi
	sub	$8, %rcx
	jmp	3b
	.globl	pmemfile_copy_words_fixup
	.hidden	pmemfile_copy_words_fixup
pmemfile_copy_words_fixup:
4:
	test	%rcx, %rcx
	jz	6f
	.globl	pmemfile_copy_bytes_begin
	.hidden	pmemfile_copy_bytes_begin
pmemfile_copy_bytes_begin:
5:
	mov	(%rsi), %al
	mov	%al, (%rdi)
	inc	%rsi
	inc	%rdi
	dec	%rcx
	jnz	5b
	jmp	6f
	.globl	pmemfile_copy_cached_at
	.hidden	pmemfile_copy_cached_at
pmemfile_copy_cached_at:
	rep movsb
	.globl	pmemfile_copy_cached_fixup
	.hidden	pmemfile_copy_cached_fixup
pmemfile_copy_cached_fixup:
6:
	mov	%rcx, %rax
	ret
	.cfi_endproc
	.size	pmemfile_copy_cached, . - pmemfile_copy_cached

// u64 pmemfile_copy_streaming(void *to, const void *from, u64 size): `to` is aligned to 8, size a multiple of 64.
	.globl	pmemfile_copy_streaming
	.hidden	pmemfile_copy_streaming
	.type	pmemfile_copy_streaming, @function
pmemfile_copy_streaming:
	.cfi_startproc
	mov	%rdx, %rcx
	jrcxz	2f
	.globl	pmemfile_copy_streaming_begin
	.hidden	pmemfile_copy_streaming_begin
pmemfile_copy_streaming_begin:
1:
	mov	(%rsi), %rax
	mov	8(%rsi), %rdx
	mov	16(%rsi), %r8
	mov	24(%rsi), %r9
	mov	32(%rsi), %r10
	movnti	%rax, (%rdi)
	movnti	%rdx, 8(%rdi)
	movnti	%r8, 16(%rdi)
	movnti	%r9, 24(%rdi)
	mov	40(%rsi), %rax
	mov	48(%rsi), %rdx
	mov	56(%rsi), %r8
	movnti	%r10, 32(%rdi)
	movnti	%rax, 40(%rdi)
	movnti	%rdx, 48(%rdi)
	movnti	%r8, 56(%rdi)
	add	$64, %rsi
	add	$64, %rdi
	sub	$64, %rcx
	jnz	1b
	.globl	pmemfile_copy_streaming_end
	.hidden	pmemfile_copy_streaming_end
pmemfile_copy_streaming_end:
2:
	mov	%rcx, %rax
	ret
	.cfi_endproc
	.size	pmemfile_copy_streaming, . - pmemfile_copy_streaming

	.section .note.GNU-stack, "", @progbits
