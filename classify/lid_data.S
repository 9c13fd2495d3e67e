/* lid_data.S - the built-in language model, as it lies in the tree. */
    .section .rodata
    .balign 64
    .globl kj_lid_data
    .globl kj_lid_size
kj_lid_data:
    .incbin "classify/lid.ftz"
1:
    .balign 8
kj_lid_size:
    .quad 1b - kj_lid_data
    .section .note.GNU-stack,"",@progbits
