/* command.h: the events of a command on its way from a client to the log and back: Put, PutRecvd, PutCommitted,
 * PutResultRecvd, and likewise Set, Cas, Append, Delete, Get; Change for what is none of the key/value space. All of
 * one command have one id. */
#pragma once

#include "meta/types.h"
#include "trace/trace.h"

struct trace_operation {
    uint64_t id;
    const char *name; /* the tag without its end; NULL: it is not traced */
    char key[64];     /* of the first key: what is no text in it is '?' */
};
/* What is asked for other than keys is not traced. `number` tells apart the queries of one client. */
struct trace_operation trace_of_command(const struct meta_command *c);
struct trace_operation trace_of_query(const struct meta_query *q, uint64_t number);
/* end: "", "Recvd", "Committed", "ResultRecvd". detail: more about it, or NULL. Only when trace_on. */
void trace_operation(const struct trace_operation *o, const char *end, const char *detail);
