/* text_parse.h: commands of the text protocol out of bytes as they come. Pure.
 *
 *   get KEY                        getm KEY                 delete KEY
 *   set KEY EXPIRY BYTES           followed by that many bytes of any kind
 *   cas KEY EXPIRY VERSION BYTES   likewise
 *
 * Each line ends with CRLF (LF alone will do), its fields are separated by one space; a key has no space, CR or LF.
 * EXPIRY is in seconds, 0 is never. Blank lines are ignored, so BYTES may count the CRLF behind a value or not. A line
 * that is no command is refused and the next one is read; one that doesn't end, or that begins a request of HTTP or
 * TLS, ends the connection. What is refused for its value is refused at once, and the value is skipped. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"

#define TEXT_LINE_BYTES (LIMIT_KV_KEY_BYTES + 128u)
#define TEXT_SKIP_BYTES INT32_MAX /* a value that is announced as longer ends the connection */

enum text_verb { TEXT_GET = 1, TEXT_GETM, TEXT_SET, TEXT_CAS, TEXT_DELETE };

struct text_command {
    enum text_verb verb;
    struct bytes key;
    uint64_t expiry_s, version;
    struct bytes value;
    size_t held; /* taken out of the budget */
};

/* What the values of all connections may take together. One thread. */
struct text_budget {
    size_t left;
};

enum text_step {
    TEXT_MORE,    /* everything was taken, and there is no whole command */
    TEXT_COMMAND, /* parser->command is one, which is the caller's from here (text_command_free) */
    TEXT_BAD,     /* refused; what follows is read */
    TEXT_FULL,    /* the same, for want of room at the moment */
    TEXT_END      /* refused, and there is no use in reading on */
};

enum text_state { TEXT_IN_LINE = 0, TEXT_IN_VALUE, TEXT_IN_SKIP };

struct text_parser {
    struct text_budget *budget;
    enum text_state state;
    struct bytes line;           /* what has come of it */
    uint64_t left;               /* of a value, or of what is skipped */
    struct text_command command; /* under way */
};

/* Zero but for the budget is a parser at its beginning. Takes from the front of *data. */
enum text_step text_parser_take(struct text_parser *p, struct slice *data);
/* In the middle of something. */
bool text_parser_is_inside(const struct text_parser *p);
void text_parser_free(struct text_parser *p);
void text_command_free(struct text_command *c, struct text_budget *budget);
