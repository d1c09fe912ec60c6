/* config.h: what surfd was told, by flags and by a YAML file with the same keys. Pure but for reading that file.
 *
 * Order of use: config_init, config_load_file (if one is named), config_set for every flag (so that flags override the
 * file), config_finish. Errors are ERR_CONFIG or ERR_ADDRESS, and `why` always holds the offending value. */
#pragma once

#include <limits.h>

#include "base/err.h"
#include "base/limits.h"
#include "gateway/gateway.h"
#include "proto/wire_admin.h"
#include "raft/raft.h"
#include "rpc/address.h"

#define CONFIG_FILE_BYTES (64 * KIB)
#define CONFIG_PORT_DEFAULT 8080
#define CONFIG_ID_MAX 65535u
#define CONFIG_SESSION_TIMEOUT_MIN_S 2u
#define CONFIG_SESSION_TIMEOUT_MAX_S 86400u
#define CONFIG_LOG_SIZE_MIN_MIB 1u
#define CONFIG_LOG_SIZE_MAX_MIB (64 * 1024u)
#define CONFIG_LOG_ENTRIES_MIN 100u
#define CONFIG_LOG_ENTRIES_MAX 100000000u
#define CONFIG_DISK_RESERVE_MAX_MIB (1024 * 1024u)
#define CONFIG_CONNECTIONS_MIN 16u
#define CONFIG_CONNECTIONS_MAX 65536u
#define CONFIG_UPKEEP_MAX_S (30 * 86400u)

struct config_peer {
    uint32_t id;
    struct rpc_address address;
};

struct config {
    unsigned roles; /* WIRE_NODE_* */
    uint16_t port;
    bool port_given, localhost, debug, insecure_listen;
    uint32_t id; /* 1..CONFIG_ID_MAX */
    char data[PATH_MAX];
    struct config_peer peers[LIMIT_NODES]; /* the metastore's members, ascending ids; config_finish adds this node when
                                              none was given */
    unsigned peer_count;
    struct rpc_address block_servers[LIMIT_BLOCK_SERVERS];
    unsigned block_server_count;
    enum raft_election election;
    enum raft_reads reads;
    unsigned session_timeout_s;
    bool join;    /* a new member that waits to be added: peers are whom it may ask, not a first configuration */
    bool rebuild; /* what the metastore had here is dropped, and comes again from the other members */
    unsigned log_size_mib, log_entries; /* the log is cut when it is larger */
    unsigned disk_reserve_mib;          /* with less free space this node steps aside */
    unsigned connections;               /* that there may be; 0: as descriptors allow */
    unsigned repair_delay_s;            /* a block server that is silent for so long counts as away */
    unsigned repair_interval_s;         /* all blocks are looked at at least so often */
    unsigned collect_interval_s;        /* between epochs of collection, while there is something to collect */
    unsigned stray_age_s;               /* a copy that belongs elsewhere stays for so long */
    uint64_t repair_rate, scrub_rate;   /* bytes per second; 0: no limit, and off */
    char trace[PATH_MAX];               /* a file; "": none */
    char zone[LIMIT_ZONE_BYTES + 1];    /* of the block server; "": a zone of its own */
    bool durability_log;                /* puts of keys may be acknowledged ahead of their order */
    bool rebuild_blocks;                /* the block store is put aside, and filled anew from the other servers */
    struct gateway_http_options http;   /* config_gateway.c */
    struct gateway_text_options text;
    bool has_advertise, id_given;
    struct rpc_address advertise;            /* where others reach this node; filled in by config_finish */
    char bind_host[LIMIT_ADDRESS_BYTES + 1]; /* filled in by config_finish */
};

void config_init(struct config *c);
/* key: a long flag without its dashes; value "true" or "false" for switches. */
enum err config_set(struct config *c, const char *key, const char *value, struct err_text *why) MUST_USE;
/* One more positional address of a block server. */
enum err config_add_block_server(struct config *c, const char *address, struct err_text *why) MUST_USE;
/* why: "FILE:LINE: key: ..." */
enum err config_load_file(struct config *c, const char *path, struct err_text *why) MUST_USE;
/* Checks what must fit together and fills in what follows from it. */
enum err config_finish(struct config *c, struct err_text *why) MUST_USE;
bool config_host_is_loopback(const char *host);

/* ---- for the parts of the configuration ---- */

enum err config_parse_number(const char *text, unsigned low, unsigned high, unsigned *ret, const char *what,
                             struct err_text *why) MUST_USE;
enum err config_parse_switch(const char *text, bool *ret, struct err_text *why) MUST_USE;
/* What gateways are told; NOT_FOUND: the key is none of theirs. */
enum err config_gateway_set(struct config *c, const char *key, const char *value, struct err_text *why) MUST_USE;
enum err config_gateway_finish(struct config *c, struct err_text *why) MUST_USE;
