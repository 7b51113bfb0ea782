"""Words that say nothing about anybody: those of errors, protocols and of our own sentences.

The text pass of `deidentify` lets these through and takes everything else out, because no pattern can tell a
branch, a title or a colleague's name from other words. A word belongs here if operating systems, TLS libraries,
HTTP programs, providers or we say it about a connection; nothing that could be part of a name.
"""

from __future__ import annotations

_WORDS = """
--timezone 10m 1m a abandoned abort about above accept accepted access accessing accident accidents account
acknowledged acknowledgement active add added address addresses advertise aes after again age agent agents ages agree
agreed akamai alarm alarms alert alike all allocate allow alone alpn already also although amazon amount an and
another answer answered answers anthropic anthropic-python anthropic-typescript any anything apart api apis app
apparently application approvals are argument arguments around array arrival arrive arrived arrives arriving as ask
asked asking asks asleep assign async at attached attachments attempt attempted attempting attempts attic attribute
authentication authority auto autonomous available avoided awaited awake away aws awselb axios azure back bad base
basic batches be bearer because bedrock been before began begin beginning begins begun behind being beside best beta
better between beyond big billing bits block blocks bodies body boot both bounds box branch break breaker breaks
bridged brief bring brings broke broken browser budget buffer buffering build bun burnt burst bursts busy but by
bypass bypasspermissions byte bytes cable cache cached cached-lookup caddy caffeinate call calls came can cancel
canceled cancelled cannot capped capture captures careful carried carrier carries cases cause caused causes cellular
cert certificate certificates chacha20 chance change changed changes channel character characters charset chat chatgpt
check checking checkpoint child chunk chunked claude claude-cli clear cli client clients clock clocks close closed
closes closing closings cloudflare cloudfront cnt coalesce code codec collector come comes coming command common
communication compact compacting compaction compare compared comparison complete completed completions compressed compression
concluded concurrency concurrent config configuration configured confirmed congestion connect connected connecting
connection connections conntrack contain container contains content context continue control conversation copies copy
core correct corrupted cost costs could count count_tokens counted counts covered covers cpu credit credits cross curl
current cut cuts cycle cycles darwin data day days dead deadline deadlock debug decide decided decides declared decode
decoding decompress default defect defined degraded delayed delete deleted deletes delivery delta deltas denied deno
deny descriptor desired desktop destination detail details dev device diagnose dialect did died dies different
differently differs digest directions directly directory disk dispatcher dns do docs document documentation documented
documents does doing domain doom doomed dots doubt down drawn driver dropped drops due duplicate duration during
dynamic each eager eagerly earlier early ecdhe ecdsa edge egress eight elevated eleven else elsewhere embeddings empty
en enabled encoded encoding encodings encrypted end ended ending endings endpoint ends enforced enhance_your_calm
enough ensure entity envoy eof epoll errno error error-type errors established ethernet event events every evidence
exact exactly exceeded exceeds exception exchange exclude excluded excludes exec exhausted exists exited expect
expected expects expired expiry explain explained explains explicit extensions external extra fact fail failed failing
fails failure failures fallback fallbacks falls families family far fast faster fastly fatal fault feature fell fetch
fetching few fewer fifth file files filter fin fin_wait1 fin_wait2 finds finish finished finishing first first-start
fits five fixed flight flights flood flow flowing follow followed follows for forbid forgets forgot forgotten form
format forward found four four-hundred fragment frame frames free frequency frequent fresh from full function gap gaps
gateway gave gave_up gcm generated generation get give given giving go goaway goes gone google got gpt grace grammar
greater greetings grew grows gzip h1 h2 had haiku half halted hand handed handle handshake haproxy hardly has hash
have head header headers healed healing heard hears hedge held hello help her here hit hits hold holdfast
holdfast-turn holding holds home honest honestly hook hooks hop hops host hostname hour hours how however html http
http/1.0 http/1.1 http/2 http_1_1_required https httpx human hundreds hung i icmp id identifier identity idle ids if
illegal image images immediately implemented in inadequate_security inappropriate inbound incident incidents included
incomplete increase incremental indicates infer inference inferred initial input inside install installed instance
instead insufficient interactive intercepting interface internal interrupt interrupted interval into invalid invisible
io ioctl ip ipv4 ipv6 is issued issuer istio-envoy it its itself iw javascript joined joins journal journalctl json
just kb keep keepalive keepalives keeps kept kernel key keys killed kind known knows lain large larger largest last
last_ack lasted latency later latest lay leads least leave leaves leaving left length lengths less let level levels
lib libraries library lie lies life lifetime light like likelier likely limit limits line lines link links linux list
listen listening lists little lived ll load loaded local locally locks log logged login logs long longer longest look
looked lookup loopback loses losing lost low machine macos made make managed many matching max maximum may mb mcp mean
means meanwhile measured medium meet memory mended message messages method methods mid middle midst min minimum minute
minutes mismatch miss missed missing mode model models modes moment moments month more most move moved moved_on ms mtu
much multibyte multihop multiple must name named names nat native near need needed needs negotiate neither network
networkmanager networks never new newer newest next nginx nine nmcli no nobody node node.js nodename non none nor
normal not note noted nothing noticed now null number numerical o oauth object occurred octet-stream odd of off
offered often old older on once one ones online only open openai openai-python opened opening openresty opens openssl
operating operation operational options opus or order org origin orphan orphaned orphans other others ours out outage
outages outbound outgoing outlive outlives output outside over overflow overload overloaded own owner pace package
packet packets page pages paid parallel parse parser parsing part partial partially parts pass passed password past
patch path patience pause pause_turn payload peer per percent perhaps permission permitted phase phases pid piece ping
pings pinned pipe place plain plainly planned platform playing please plugins pmset policy poly1305 pool port possible
post prefill premature prematurely present prevent previous price print probe probes process processes profile program
programs progress project projects prompt prompts proof proper protected protocol protocols proved proven provider
proxies proxy public published publishes push put python query questions queue quickly quiet quota radio raise raised
raises ran range rate rate_limited ratelimit rather raw re reach reached reaching read reader reading reads ready
reason receive received receiving recent reconnect record records recoverable recovered recovery redacted_thinking
redo reduce reestablished refer references refresh refusal refused refuses regarding region regression rejected
rejoined related relayed release remain remaining remote removed repeat repeated replaced reply report reported
request requested requests required requires resampled resend resent reset resets resolve resolved resolver resolvers
resource resources response responses rest restart restarted result results resumed retransmit retransmits retried
retries retry retry-after retrying reused revoked rf roaming room root round route router routes row rpc rsa rst run
running runs runtime s safe said same sampling saved saw say says scheduled schema scheme scope sdk-cli sdk-py sdk-ts
seam second second's seconds secret section secure see seek seems seen sees segment segments self semaphores send
sendable sending sends sent sequence server servers serves service services session session-id sessions set setting
settings seven several severed sha256 sha384 shape share shared shares shell short shorten shortened shorter shortest
shortly should shown shows shutdown side sign signature signed silence silences silent silently since six six-hundred
size sized sizes sleep sleeping sleeps slept slot slow slowly small smaller sni so socket software some something
sonnet sooner source space spare spared spawn speak speaks specific specified speed splice split spoke spoken spool
spooled spread ss sse ssl ssl_error_syscall sslcertverificationerror ssleoferror sslerror sslv3 sslzeroreturnerror
stack stale stall stalled stalls stand standard stands start started starting starts state stateful status stay stayed
stays step still stop stopped stopping stops store stored story strain strains stream streamed streaming streams
strict string strip strong structure subagent subagents subscription succeeded succeeds success such sum summary
superseded support supported supports survives suspected suspended switch switched switching symbolic syn syn_recv
synchronized system systemd-inhibit systemd-suspend systems t table take taken takeover takes tcp telemetry tell telling
tells temporarily temporary ten tenant tens tenth terminal terminated termination test text than that the their them then
there these they think thinking third this those thousand thread three throttle throttled throttling through throws tier time
timed timeout timeouts timer times timing tls tlsv1 tlsv1.2 tlsv1.3 to today together token tokens told too took tool
tools torn total traefik traffic trailers trailing transcript transcripts transfer transient transit transport trend
trickle tries true truncated trust trusted try trying tuned tunnel turn turns twelve twice two type typescript typing
unable unacknowledged unanswerable unanswered unauthorized unavailable unbuffer uncaught unchanged unconfirmed under
understood undici undone unencrypted unexpected unexpectedly unexplained unfinished unfortunately unheard unified
union unique unit unknown unless unprocessable unreachable unreadably unresponsive unsafe unsent unset unspecified
unsupported until unusable unwritten up update upgrade upgrades upload uploads upstream url us usage use used user
users uses utc utf utf-8 v1 vain valid validated validation value values varnish vercel verification verify version
versions very via violation virtual visible void vpn wait waited waiting waits waking wall want wanted wants warning
was wasted watch watchdog watchdogs way ways we we'll we're web week weekday weigh weighs well went were what when
where whether which while who whole whose why wi-fi wide width wifi will window windows wire with withdrawn within
without woke word words work worked worker working works worth would wpa_supplicant wrapper write writes writing
written wrong wrote x-should-retry x25519 year yes yet yields you your zero zone
"""

PLAIN: frozenset[str] = frozenset(_WORDS.split())
"In lower case."
