/* text.h: the text protocol (text_parse.h) over TCP. One thread has all connections, so that ten thousand idle ones
 * cost a descriptor and a few hundred bytes each; what waits for the cluster is done by a pool of threads.
 *
 * Commands of a connection are executed one after the other, in order, however many come at once; they are answered:
 *
 *   set, cas   OK VERSION                 ERR_VERSION (a set of a key that is there, a cas of another version),
 *   get        VALUE BYTES + value        ERR_NOT_FOUND, ERR_CMD_ERR, ERR_INTERNAL (the cluster doesn't answer, or the
 *   getm       VALUE VERSION EXPIRY BYTES + value      key has a list: a change may have happened),
 *   delete     DELETED                    REDIRECT ID (this node does not lead: that one does)
 *
 * A command waits for a leader as long as for an answer. Who is too slow with a command, or with reading an answer, is
 * disconnected; who waits without having begun one is not. */
#pragma once

#include "gateway/session.h"

#define TEXT_CONNECTIONS 16384u /* fewer when there are not enough descriptors */
#define TEXT_WORKERS 64u
/* Of all commands that have not been answered, and of all answers that have not been read. When there is more, who has
 * been slow with a value, or with an answer, for longest gives way. */
#define TEXT_VALUES_BYTES (256u * MIB)
#define TEXT_UNREAD_BYTES (128u * MIB)
#define TEXT_AHEAD_BYTES (4u * KIB)  /* of a connection whose command is under way; then it is not read */
#define TEXT_SLOW_NS (60 * NS_PER_S) /* for a command to come whole, or an answer to be read */

struct text_server;

/* EXISTS_IN_USE, ADDRESS, ... with why. The session's options say where. */
enum err text_server_open(struct gateway_session *session, struct text_server **ret, struct err_text *why) MUST_USE;
/* The session has been stopped. NULL is allowed. */
void text_server_close(struct text_server *s);
