# cmake -D FROM=file -D TO=file.c -D NAME=page_x -P embed.cmake: a file as a constant of a C program.
file(READ ${FROM} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE ${TO} "#include \"gateway/page_files.h\"
static const uint8_t bytes[] = {${bytes}0};
const struct page_file ${NAME} = {bytes, sizeof bytes - 1};
")
