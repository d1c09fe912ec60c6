/* text_run.h: what a command of the text protocol does. */
#pragma once

#include "gateway/session.h"
#include "gateway/text_parse.h"

/* Waits for the cluster. The answer with its line end is appended. */
void text_run(struct gateway_session *session, const struct text_command *c, struct bytes *answer);
