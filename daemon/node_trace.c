/* What a traced node tells of the messages between members, and of its role. */
#include <inttypes.h>

#include "daemon/node.h"
#include "trace/trace.h"

static const char *message_name(const struct replica_message *m)
{
    if (m->type != REPLICA_RAFT)
        return "Snapshot";
    switch (m->raft.type) {
    case RAFT_MSG_PREVOTE:
        return "PreVoteRequest";
    case RAFT_MSG_PREVOTE_REPLY:
        return "PreVoteResponse";
    case RAFT_MSG_VOTE:
        return "VoteRequest";
    case RAFT_MSG_VOTE_REPLY:
        return "VoteResponse";
    case RAFT_MSG_APPEND:
        return "AppendEntriesRequest";
    case RAFT_MSG_APPEND_REPLY:
        return "AppendEntriesResponse";
    case RAFT_MSG_TIMEOUT_NOW:
        return "TimeoutNow";
    case RAFT_MSG_READ:
        return "ReadIndexRequest";
    case RAFT_MSG_READ_REPLY:
        return "ReadIndexResponse";
    }
    return "Message";
}

void node_trace_message(const struct replica_message *m, bool sent)
{
    char tag[40];
    if (!trace_on)
        return;
    snprintf(tag, sizeof tag, "%s%s", message_name(m), sent ? "Sent" : "Recvd");
    trace_event(0, tag, "{s:I, s:I, s:I, s:I, s:I, s:b}", "Peer", (int64_t)(sent ? m->to : m->from), "Term",
                (int64_t)m->raft.term, "Index", (int64_t)m->raft.index, "Commit", (int64_t)m->raft.commit, "Entries",
                (int64_t)m->raft.entry_count, "Reject", (int)m->raft.reject);
}

void node_trace_role(const struct node *n, uint64_t term)
{
    static const char *const tags[] = {[RAFT_FOLLOWER] = "BecameFollower",
                                       [RAFT_PRE_CANDIDATE] = "BecamePreCandidate",
                                       [RAFT_CANDIDATE] = "BecameCandidate",
                                       [RAFT_LEADER] = "BecameLeader"};
    TRACE(0, tags[n->role], "{s:I, s:I}", "ServerId", (int64_t)n->config.id, "Term", (int64_t)term);
}
