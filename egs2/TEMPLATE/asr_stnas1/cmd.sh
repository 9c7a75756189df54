# How jobs are started: export cmd_backend=local, stdout, sge, pbs, slurm or ssh.
# shellcheck shell=bash
# Queues and partitions are set in conf/queue.conf, conf/pbs.conf, conf/slurm.conf, which
# the first call of run.sh copies from ESPnet; hosts of ssh in .queue/machines.
case "${cmd_backend:-local}" in
    local) launcher=run.pl ;;
    stdout) launcher=stdout.pl ;;
    sge) launcher=queue.pl ;;
    pbs) launcher=pbs.pl ;;
    slurm) launcher=slurm.pl ;;
    ssh) launcher=ssh.pl ;;
    *)
        echo "cmd.sh: error: cmd_backend is '${cmd_backend}'; accepted are local," \
            "stdout, sge, pbs, slurm, ssh" >&2
        exit 1
        ;;
esac
export train_cmd=${train_cmd:-${launcher}}      # CPU jobs
export cuda_cmd=${cuda_cmd:-${launcher}}        # trainings; asr.sh appends --gpu
export decode_cmd=${decode_cmd:-${launcher}}
