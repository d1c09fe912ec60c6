/* http_files.h: /files from inside: from a path to an inode, and from an inode to an answer. */
#pragma once

#include "gateway/http.h"

#define HTTP_TAG_BYTES 48u

struct http_file {
    struct surf *surf;
    struct surf_caller caller;
    struct meta_attr attr;
    char tag[HTTP_TAG_BYTES]; /* its entity tag: the version of its contents */
};

/* ---- http_files_path.c ---- */

/* Walks the path (decoded, without a slash in front) from the root. Symbolic links lead where they say as long as they
 * stay inside: ACCES where one leads out or starts at "/". ACCES also for what the caller may not see. */
enum err http_files_walk(struct http_request *r, struct slice path, struct http_file *f, struct err_text *why) MUST_USE;
/* Whether `bits` (of S_IRWXO) are everybody's, or need not be. */
bool http_files_may(const struct http_request *r, const struct meta_attr *attr, uint32_t bits);

/* ---- answers: http_files_list.c, http_files_bytes.c ---- */

void http_files_list(struct http_request *r, struct http_file *f, struct slice path);
/* ?blocks: which blocks the file is made of. */
void http_files_blocks(struct http_request *r, struct http_file *f, struct slice path);
void http_files_bytes(struct http_request *r, struct http_file *f, struct slice path);

/* What users have stored is shown as nothing but itself: it gets no rights of this page. */
void http_files_header(struct http_request *r);
