%% OTP's `supervisor` doing what the peers in Rust do: one_for_one (or one_for_all, rest_for_one)
%% for the works with a list, simple_one_for_one for those with dynamic children.
%%
%% erl -noinput -pa DIR -run supervision main WORK N OPS (OPS 0: as often as the work wants)
-module(supervision).
-behaviour(supervisor).
-export([main/1, init/1, start_child/1, run_child/2]).

%% Restarts that are in the window before crash_window is measured.
-define(WINDOW, 10000).
%% Few, because a restart costs the more, the more there are in the period.
-define(CRASHES, 200).
-define(GROUP_CRASHES, 20).
-define(PAIRS, 10000).
%% By how much the longest work is cut short.
-define(SLOW, 10).

main([Work, N, Ops]) ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    {Value, Stretch} = measure(Work, list_to_integer(N), list_to_integer(Ops)),
    io:format("{\"value\":~.6f,\"stretch\":~s}~n", [Value / 1, Stretch]),
    erlang:halt(0, [{flush, true}]).

measure("start", N, _) ->
    List = idle(N),
    Meter = meter(),
    start(one_for_one, List, 1),
    each(Meter, N);
measure("stop", N, _) ->
    Supervisor = start(one_for_one, idle(N), 1),
    Meter = meter(),
    stop(Supervisor),
    each(Meter, N);
measure("crash", N, Ops) -> crash(error, N, 0, Ops);
measure("crash_panic", N, Ops) -> crash(panic, N, 0, Ops);
measure("crash_window", N, Ops) -> crash(error, N, ?WINDOW, Ops);
measure("one_for_all", N, _) -> group(one_for_all, N, 1);
measure("rest_for_one", N, _) -> group(rest_for_one, N, N div 2 + 1);
measure("count", N, Ops) -> count(start(one_for_one, idle(N), 1), N, Ops);
measure("which", N, Ops) -> which(start(one_for_one, idle(N), 1), N, Ops);
measure("memory", N, _) ->
    Before = resident(),
    start(one_for_one, idle(N), 1),
    value((resident() - Before) / N);
measure("heap", N, _) ->
    Before = erlang:memory(total),
    start(one_for_one, idle(N), 1),
    value((erlang:memory(total) - Before) / N);
measure("start_dynamic", N, _) ->
    Supervisor = start_dynamic(1),
    Meter = meter(),
    start_children(Supervisor, N),
    each(Meter, N);
measure("start_terminate", N, Ops) ->
    Supervisor = start_dynamic(1),
    start_children(Supervisor, N),
    Pairs = times(Ops, ?PAIRS),
    Meter = meter(),
    start_and_terminate(Supervisor, Pairs),
    each(Meter, Pairs);
measure("stop_dynamic", N, _) ->
    Supervisor = start_dynamic(1),
    start_children(Supervisor, N),
    Meter = meter(),
    stop(Supervisor),
    each(Meter, N);
measure("crash_dynamic", N, Ops) -> crash_dynamic(error, N, 0, Ops);
measure("crash_panic_dynamic", N, Ops) -> crash_dynamic(panic, N, 0, Ops);
measure("crash_window_dynamic", N, Ops) -> crash_dynamic(error, N, ?WINDOW, Ops);
measure("count_dynamic", N, Ops) ->
    Supervisor = start_dynamic(1),
    start_children(Supervisor, N),
    count(Supervisor, N, Ops);
measure("which_dynamic", N, Ops) ->
    Supervisor = start_dynamic(1),
    start_children(Supervisor, N),
    which(Supervisor, N, Ops);
measure("memory_dynamic", N, _) ->
    Supervisor = start_dynamic(1),
    Before = resident(),
    start_children(Supervisor, N),
    value((resident() - Before) / N);
measure("heap_dynamic", N, _) ->
    Supervisor = start_dynamic(1),
    Before = erlang:memory(total),
    start_children(Supervisor, N),
    value((erlang:memory(total) - Before) / N);
measure("churn_memory", N, _) ->
    Pairs = N div ?SLOW,
    Supervisor = start_dynamic(1),
    start_children(Supervisor, 1),
    start_and_terminate(Supervisor, Pairs div 10),
    Before = resident(),
    start_and_terminate(Supervisor, Pairs),
    value((resident() - Before) / Pairs).

%% Supervisors ------------------------------------------------------------------------------------

init({dynamic, Period}) ->
    Flags = #{strategy => simple_one_for_one, intensity => 1 bsl 40, period => Period},
    {ok, {Flags, [spec(child, [])]}};
init({Strategy, List, Period}) ->
    Flags = #{strategy => Strategy, intensity => 1 bsl 40, period => Period},
    {ok, {Flags, [spec(I, [Role]) || {I, Role} <- List]}}.

spec(Id, Args) ->
    #{id => Id, start => {?MODULE, start_child, Args}, restart => permanent, shutdown => 60000}.

start(Strategy, List, Period) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, {Strategy, List, Period}),
    Supervisor.

start_dynamic(Period) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, {dynamic, Period}),
    Supervisor.

start_children(_, 0) ->
    ok;
start_children(Supervisor, N) ->
    {ok, _} = supervisor:start_child(Supervisor, [idle]),
    start_children(Supervisor, N - 1).

start_and_terminate(_, 0) ->
    ok;
start_and_terminate(Supervisor, N) ->
    {ok, Child} = supervisor:start_child(Supervisor, [idle]),
    ok = supervisor:terminate_child(Supervisor, Child),
    start_and_terminate(Supervisor, N - 1).

stop(Supervisor) ->
    unlink(Supervisor),
    Monitor = monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive {'DOWN', Monitor, _, _, _} -> ok end.

idle(N) -> [{I, idle} || I <- lists:seq(1, N)].

%% Children ---------------------------------------------------------------------------------------

start_child(Role) -> proc_lib:start_link(?MODULE, run_child, [self(), Role]).

run_child(Parent, Role) ->
    proc_lib:init_ack(Parent, {ok, self()}),
    child(Role).

child(idle) ->
    receive stop -> ok end;
child({crash, How, Marks}) ->
    erlang:yield(),
    case mark(Marks) of
        true when How =:= error -> exit(crash);
        true -> erlang:error(crash);
        false -> child(idle)
    end;
child({bomb, Marks}) ->
    %% The last child finds it by its name.
    register(bomb, self()),
    receive set_off -> ok end,
    mark(Marks),
    exit(crash);
child({last, Marks}) ->
    erlang:yield(),
    case mark(Marks) of
        true -> bomb ! set_off;
        false -> ok
    end,
    child(idle).

%% Crashes ----------------------------------------------------------------------------------------

%% Children take the times themselves: one mark is both the end of a restart and the next crash.
marks(Wanted) -> {counters:new(1, []), atomics:new(Wanted, []), Wanted, self()}.

mark({Count, Times, Wanted, Driver}) ->
    counters:add(Count, 1, 1),
    I = counters:get(Count, 1),
    atomics:put(Times, I, erlang:monotonic_time(nanosecond)),
    I < Wanted orelse begin Driver ! done, false end.

done() -> receive done -> ok end.

taken({_, Times, Wanted, _}) -> [atomics:get(Times, I) || I <- lists:seq(1, Wanted)].

crash(How, Siblings, Before, Ops) ->
    Crashes = Before + times(Ops, ?CRASHES),
    Marks = marks(Crashes + 1),
    List = idle(Siblings) ++ [{crash, {crash, How, Marks}}],
    Meter = meter(),
    start(one_for_one, List, period(Before)),
    done(),
    between(Meter, Marks, Before).

crash_dynamic(How, Siblings, Before, Ops) ->
    Crashes = Before + times(Ops, ?CRASHES),
    Marks = marks(Crashes + 1),
    Supervisor = start_dynamic(period(Before)),
    start_children(Supervisor, Siblings),
    Meter = meter(),
    {ok, _} = supervisor:start_child(Supervisor, [{crash, How, Marks}]),
    done(),
    between(Meter, Marks, Before).

period(0) -> 1;
period(_) -> 3600.

between(Meter, Marks, Before) ->
    Taken = lists:nthtail(Before, taken(Marks)),
    Times = lists:zipwith(fun erlang:'-'/2, tl(Taken), lists:droplast(Taken)),
    worth(Meter, median(Times) / 1000).

group(Strategy, N, Bomb) ->
    %% The last child is ready; then, each time, the crash and the last child again.
    Marks = marks(2 * ?GROUP_CRASHES + 1),
    Role = fun(I) when I =:= Bomb -> {bomb, Marks};
              (I) when I =:= N -> {last, Marks};
              (_) -> idle
           end,
    Meter = meter(),
    start(Strategy, [{I, Role(I)} || I <- lists:seq(1, N)], 1),
    done(),
    worth(Meter, median(pairs(tl(taken(Marks)))) / 1000).

pairs([From, To | Rest]) -> [To - From | pairs(Rest)];
pairs([]) -> [].

%% Calls ------------------------------------------------------------------------------------------

count(Supervisor, N, Ops) ->
    per_call(Ops, fun() -> N = proplists:get_value(active, supervisor:count_children(Supervisor)) end).

which(Supervisor, N, Ops) ->
    per_call(Ops, fun() -> N = length(supervisor:which_children(Supervisor)) end).

%% Repeats a call for as long as it takes to time it.
per_call(0, Call) -> per_call_from(1, Call);
per_call(Ops, Call) -> element(2, calls(Ops, Call)).

per_call_from(Calls, Call) ->
    case calls(Calls, Call) of
        {Took, Measured} when Took > 20000 -> Measured;
        _ -> per_call_from(Calls * 2, Call)
    end.

calls(Calls, Call) ->
    Meter = {Began, _} = meter(),
    repeat(Calls, Call),
    {now_us() - Began, each(Meter, Calls)}.

repeat(0, _) -> ok;
repeat(Calls, Call) -> Call(), repeat(Calls - 1, Call).

times(0, Default) -> Default;
times(Ops, _) -> Ops.

%% Meter ------------------------------------------------------------------------------------------

meter() ->
    Before = schedstat(),
    {now_us(), Before}.

each(Meter = {Began, _}, N) -> worth(Meter, (now_us() - Began) / N).

%% The stretch is what the other programs print: wall time over processor time if one scheduler is
%% always busy, else by how much schedulers waited for a processor.
worth({Began, {Used, Waited}}, Value) ->
    Wall = now_us() - Began,
    {UsedNow, WaitedNow} = schedstat(),
    Stretch =
        case erlang:system_info(schedulers_online) of
            1 -> Wall * 1000 / max(UsedNow - Used, 1);
            Schedulers -> 1 + (WaitedNow - Waited) / (Wall * 1000 * Schedulers)
        end,
    {Value, io_lib:format("~.6f", [Stretch])}.

value(Value) -> {Value, "null"}.

now_us() -> erlang:monotonic_time(nanosecond) / 1000.

median(Values) -> lists:nth(length(Values) div 2 + 1, lists:sort(Values)).

%% Nanoseconds that the threads of this process used a processor, and waited for one.
schedstat() ->
    {ok, Tasks} = file:list_dir("/proc/self/task"),
    lists:foldl(
        fun(Task, {Used, Waited}) ->
            case file:read_file("/proc/self/task/" ++ Task ++ "/schedstat") of
                {ok, Stat} ->
                    [U, W | _] = binary:split(Stat, <<" ">>, [global]),
                    {Used + binary_to_integer(U), Waited + binary_to_integer(W)};
                {error, _} ->
                    {Used, Waited}
            end
        end,
        {0, 0},
        Tasks
    ).

resident() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    binary_to_integer(lists:nth(2, binary:split(Statm, <<" ">>, [global]))) * 4096.
