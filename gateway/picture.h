/* picture.h: the cluster as its page shows it: a survey as JSON, and what has changed since the survey before. One
 * thread. */
#pragma once

#include <jansson.h>

#include "client/survey/survey_json.h"

struct picture;

struct picture *picture_new(void);
void picture_free(struct picture *p);
/* What differs from the last one that was noted becomes an event, each with the time `now_ns` (wall clock). */
void picture_note(struct picture *p, const struct survey *s, int64_t now_ns);
/* The same, when nobody has answered. */
void picture_note_silence(struct picture *p, int64_t now_ns);
/* New references. The events, newest first: [{"time_s", "text"}]. */
json_t *picture_events(const struct picture *p);
/* survey_json with more of each node: what it ignores, how far the leader has got with it, and so on. */
json_t *picture_json(const struct survey *s);
