/* lid_data.S - the built-in language model, as it lies in the tree. */
    .section .rodata
    .balign 64
    .globl kj_lid_data
    .globl kj_lid_data_end
kj_lid_data:
    .incbin "classify/lid.ftz"
kj_lid_data_end:
    .byte 0
    .section .note.GNU-stack,"",@progbits
