/* schema.S - schema.sql as bytes in the program. */
    .section .rodata
    .global kj_ledger_schema
kj_ledger_schema:
    .incbin "manifests/schema.sql"
    .byte 0
    .section .note.GNU-stack, "", @progbits
